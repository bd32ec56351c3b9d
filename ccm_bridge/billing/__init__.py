"""The billing reasoner: facts and effective-dated rules to codes, holds and reasons."""
