"""What training minimises: adversarial losses and penalties, as pure functions."""
