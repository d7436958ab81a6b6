"""What is bolted up to be measured, one rig an area."""
