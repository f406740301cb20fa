"""What of a directory has provably arrived: its files as they are now, against the receipts.

verdicts   what is to be said of a file at a destination: pure
source     under which names and by which source the files of a directory are sent
hashing    what is in the directory, with digests
run        all of it: walk, hash, ask, judge
findings   what was found, counted and kept
report     what people and programs are told
"""
