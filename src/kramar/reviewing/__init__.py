"""The review queue: photos that a person decides, who decides them, and what that says of the model."""
