"""How many streams one operator can look after."""
