"""The Symphony bus: one hub, many peers. `PROTOCOL.md` beside this file is the reference."""
