"""A file of the user's own rows as a task: its kind shows in its columns, no code is written.

table       reads JSONL, CSV or parquet
kinds       what a file can be, by its columns: one module a family
beside      reads the user's own settings beside a file
definition  writes lm-eval's definition of it, with its rows, into the cache
marks       how answers are marked; goes beside the definition, and is run by lm-eval; so does
call_marks  the same for functions
example     writes one of each to start from

What comes out is a definition like any other, and is asked, marked, keyed and paired like one.
"""
