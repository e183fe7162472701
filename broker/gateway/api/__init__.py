"""The gateway's local REST API: what a worker's desk, the command line and scripts talk to.

On loopback only, or with TLS. Every request names a worker by a token; which worker decides
nothing but exceptions, where two different ones are needed.
"""
