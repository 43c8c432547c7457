"""The statements, each within the transaction of its caller: what is asked of the tables, and done to them.

The parts of the ledger (`core.ledger.people`, `events`, `feed` …) open the transactions and combine these.
"""
