"""What rankings show, held against what the model was measured to show."""
