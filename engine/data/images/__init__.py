"""Collections of images that many know, and folders of one's own."""
