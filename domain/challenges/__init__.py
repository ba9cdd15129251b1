"""Challenges, achievements, badges, streaks and leaderboards: the document, and what events come to under it."""
