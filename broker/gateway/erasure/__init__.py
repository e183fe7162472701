"""One deed: erase this, because of that. A withdrawal, an erasure notice, a recall, a referral that
ended, a time that is over: each writes an order, and all go the same way.

    orders     what is to go, and why: the stop, in the transaction of whatever caused it
    passing    who had it from us is told, in that transaction too
    ending     causes that are nobody's message: a referral that ended, a day that is over
    holds      what must be kept for now, and on which ground
    erasing    the job: everything that an order names, in every store, until it is done
    filed      the case system's copy
    attesting  saying so, store by store, and never more than we know
    attested   what others said, and passing that on upstream
    epochs     backups and sealed copies die later, by their keys
"""
