"""Faults on purpose: a store, replicas and their proxy under load, broken one way after another.

``python -m tests.chaos`` runs all scenarios and writes ``build/chaos/chaos.json`` and ``.md``.
"""
