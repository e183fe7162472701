"""What is said: typed messages and the words around them.

No I/O and no cryptography. Everything that crosses a border has its model here,
so that reading this package is reading the language of the mechanism.
"""
