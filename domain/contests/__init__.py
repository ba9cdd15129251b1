"""Contests and giveaways: the document, and draws that anybody can recompute."""
