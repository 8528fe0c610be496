"""How fast trispike is: side by side with what else runs such networks, and with the machine."""
