"""The commands of ``footplate``, a file each."""
