"""The command line: one module for each command.

At its top a module imports only what its arguments need, so that help and completion are quick. A
command imports what does its work when it runs.
"""
