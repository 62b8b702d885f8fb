"""Claude as a proposer: what it is asked, what it answers, and what that costs."""
