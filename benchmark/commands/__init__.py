"""The commands of the command line, a short function each. The grammar is in `__main__`, the work in the rooms below.

Names and files are checked before anything heavy is imported, so that a missing dataset is reported at once.
"""
