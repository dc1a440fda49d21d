"""Exposure bias of what rankings show, next to the bias measured before the model was released."""
