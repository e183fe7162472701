"""The catalogue as a page that anybody can read, with every state machine drawn.

`layered` places boxes and lines, `drawing` makes a picture of a machine of it, `page` writes the
whole. All pure; `referral catalogue --publish` and the documents of the repository use the same.
"""
