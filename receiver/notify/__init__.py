"""Notifications: out of the journal, through a persisted outbox, to webhooks, chats, programs, fences."""
