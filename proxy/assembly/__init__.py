"""Policies, kinds and adapters become a pipeline here."""
