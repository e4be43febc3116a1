"""What is found in a folder of documents for the questions of a file, before any arm is asked.

pending     which tasks of a spec wait for it
retrieving  has it found, once for the same documents, questions, settings and vectors
program     splits, indexes and finds with LlamaIndex or LangChain, in an environment of its own
vectors     gives that program vectors, over the interface that both libraries ask

What comes out is a file of rows again, with what was found in the column `retrieved`: every arm is
asked the same.
"""
