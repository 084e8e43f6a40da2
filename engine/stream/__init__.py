"""The scalar stream: how numbers and pictures of a run travel, and where they are written."""
