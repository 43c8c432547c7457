"""The ledger: the true record of people, templates, changes and events. Both vector tiers follow it."""
