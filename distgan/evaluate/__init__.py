"""Measuring a generator against its data: shares, gathering, values, and cards to them."""
