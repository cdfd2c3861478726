"""What is known about addresses: readers, snapshots, look-ups. No Twisted here."""
