"""Phones over adb: the devices themselves, stand-ins for them, and what runs on them."""
