"""The folders on this machine: a participant's, a hub's, a whole small network; and how their
secrets are asked for.
"""
