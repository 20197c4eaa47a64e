"""Clips of moving digits: what each family learns in equal seconds."""
