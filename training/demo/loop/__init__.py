"""The loop on simulated users: days of serving, clicking, collecting and training again."""
