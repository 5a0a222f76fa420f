"""What a run keeps on its way, so that the same command goes on after an interruption and ends with the same numbers.

`epochs` keeps a trainer after every epoch, `answers` every answer of a black box, `stages` the results of what is
measured. `claim` says which folder a run may go on in.
"""
