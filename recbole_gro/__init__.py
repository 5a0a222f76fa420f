from recbole_gro import compat
