"""Floor 2: public data sets and hospital folders, in; the canonical layout of :mod:`prostate_uda.data.canonical`, out.

``download`` and ``archives`` fetch and unpack, ``decathlon``, ``nci_isbi13`` (with ``tcia``) and ``folder`` say which
file is what, ``placement`` lays labels on their image's grid, ``convert`` writes a case.
"""
