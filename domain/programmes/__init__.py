"""The loyalty programme as a document: what earns points, which tiers there are, what a referral pays."""
