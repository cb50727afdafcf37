"""The catalogue of planted defects: subjects that are deliberately wrong, and what the judge must say of each.

They are subjects, so they stand on this floor and not among the records: most are the right implementation with one
thing wrong (`planted`), made by rules that hold for any record (`rules`); the others are particular to a layer
(`particular`). `catalogue` lists them all.
"""
