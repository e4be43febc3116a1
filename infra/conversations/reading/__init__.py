"""Rows of files as people have them, recognized by content.

containers    what a file is kept in, and its text
json_values   rows of JSON text in any layout
rows          the rows of a file, or what it is instead, by name
"""
