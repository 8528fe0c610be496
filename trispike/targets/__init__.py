"""What a network is mapped onto."""
