"""What the outside world looks like and what follows from it: plain Python, no I/O, no clock, no Django.

Every function takes values and returns values; `now` is an argument. Standard library only.
"""
