"""The one import promised to agent authors."""
