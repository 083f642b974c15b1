"""What the wordings of licences may mean, as SPDX identifiers separated by spaces.

Classifiers are those of PyPI; the names and texts are what is met in installed packages.  One
wording may mean several licences ("BSD"): all of them are listed.
"""

from __future__ import annotations

BSD = "BSD-2-Clause BSD-3-Clause"
GPL = "GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later"
LGPL = "LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later"
GPL2, GPL3 = "GPL-2.0-only GPL-2.0-or-later", "GPL-3.0-only GPL-3.0-or-later"
LGPL2 = "LGPL-2.0-only LGPL-2.0-or-later"
LGPL21, LGPL3 = "LGPL-2.1-only LGPL-2.1-or-later", "LGPL-3.0-only LGPL-3.0-or-later"
AGPL = "AGPL-3.0-only AGPL-3.0-or-later"

# The tail of a "License ::" classifier, to what it may mean.
CLASSIFIERS = {
    "Academic Free License (AFL)": "AFL-2.1 AFL-3.0",
    "Apache Software License": "Apache-2.0",  # 1.1 has been out of use since 2004
    "Artistic License": "Artistic-1.0 Artistic-2.0",
    "BSD License": BSD,
    "Blue Oak Model License (BlueOak-1.0.0)": "BlueOak-1.0.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "CMU License (MIT-CMU)": "MIT-CMU",
    "Common Development and Distribution License 1.0 (CDDL-1.0)": "CDDL-1.0",
    "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "GNU Affero General Public License v3": AGPL,
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License (GPL)": GPL,
    "GNU General Public License v2 (GPLv2)": GPL2,
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": GPL3,
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": LGPL2,
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": LGPL3,
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Library or Lesser General Public License (LGPL)": LGPL,
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Other/Proprietary License": "LicenseRef-Proprietary",
    "PostgreSQL License": "PostgreSQL",
    "Public Domain": "LicenseRef-Public-Domain",
    "Python License (CNRI Python License)": "CNRI-Python",
    "Python Software Foundation License": "PSF-2.0 Python-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "University of Illinois/NCSA Open Source License": "NCSA",
    "W3C License": "W3C",
    "Zero-Clause BSD (0BSD)": "0BSD",
    "Zope Public License": "ZPL-1.1 ZPL-2.0 ZPL-2.1",
    "zlib/libpng License": "Zlib",
}

# A name as people write it: lower case, without punctuation, "the", "license", "version" and a
# closing ".0", so that "Apache License, Version 2.0" reads "apache 2".
NAMES = {
    "0bsd": "0BSD",
    "2 clause bsd": "BSD-2-Clause",
    "3 clause bsd": "BSD-3-Clause",
    "agpl": AGPL,
    "agpl 3": AGPL,
    "agpl 3+": "AGPL-3.0-or-later",
    "agplv3": AGPL,
    "agplv3+": "AGPL-3.0-or-later",
    "apache": "Apache-1.1 Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache2": "Apache-2.0",
    "asl 2": "Apache-2.0",
    "boost 1": "BSL-1.0",
    "bsd": BSD,
    "bsd 2": "BSD-2-Clause",
    "bsd 2 clause": "BSD-2-Clause",
    "bsd 3": "BSD-3-Clause",
    "bsd 3 clause": "BSD-3-Clause",
    "bsd derived": BSD,
    "bsd like": BSD,
    "bsd style": BSD,
    "bsd2": "BSD-2-Clause",
    "bsd3": "BSD-3-Clause",
    "cc0": "CC0-1.0",
    "cc0 1": "CC0-1.0",
    "commercial": "LicenseRef-Proprietary",
    "expat": "MIT",
    "gnu affero general public 3": AGPL,
    "gnu general public": GPL,
    "gnu general public 2": GPL2,
    "gnu general public 2+": "GPL-2.0-or-later",
    "gnu general public 3": GPL3,
    "gnu general public 3+": "GPL-3.0-or-later",
    "gnu gpl": GPL,
    "gnu gpl 2": GPL2,
    "gnu gpl 3": GPL3,
    "gnu gplv3": GPL3,
    "gnu lesser general public": LGPL,
    "gnu lesser general public 2.1": LGPL21,
    "gnu lesser general public 3": LGPL3,
    "gnu lesser general public 3+": "LGPL-3.0-or-later",
    "gnu lgpl": LGPL,
    "gpl": GPL,
    "gpl 2": GPL2,
    "gpl 2+": "GPL-2.0-or-later",
    "gpl 3": GPL3,
    "gpl 3+": "GPL-3.0-or-later",
    "gplv2": GPL2,
    "gplv2+": "GPL-2.0-or-later",
    "gplv3": GPL3,
    "gplv3+": "GPL-3.0-or-later",
    "hpnd": "HPND",
    "isc": "ISC",
    "iscl": "ISC",
    "lgpl": LGPL,
    "lgpl 2.1": LGPL21,
    "lgpl 2.1+": "LGPL-2.1-or-later",
    "lgpl 3": LGPL3,
    "lgpl 3+": "LGPL-3.0-or-later",
    "lgpl with exceptions": LGPL,
    "lgplv2": LGPL2,
    "lgplv2.1": LGPL21,
    "lgplv2.1+": "LGPL-2.1-or-later",
    "lgplv3": LGPL3,
    "lgplv3+": "LGPL-3.0-or-later",
    "mit": "MIT",
    "mit expat": "MIT",
    "modified bsd": "BSD-3-Clause",
    "mozilla public": "MPL-1.1 MPL-2.0",
    "mozilla public 2": "MPL-2.0",
    "mpl": "MPL-1.1 MPL-2.0",
    "mpl 2": "MPL-2.0",
    "mpl2": "MPL-2.0",
    "mplv2": "MPL-2.0",
    "new bsd": "BSD-3-Clause",
    "nvidia proprietary": "LicenseRef-Proprietary",
    "proprietary": "LicenseRef-Proprietary",
    "psf": "PSF-2.0 Python-2.0",
    "psfl": "PSF-2.0 Python-2.0",
    "public domain": "LicenseRef-Public-Domain",
    "python": "PSF-2.0 Python-2.0",
    "python foundation": "PSF-2.0 Python-2.0",
    "revised bsd": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause",
    "unlicence": "Unlicense",
    "unlicense": "Unlicense",
    "x11": "MIT X11",
    "zlib": "Zlib",
    "zlib libpng": "Zlib",
    "zope public": "ZPL-2.0 ZPL-2.1",
    "zope public 2.1": "ZPL-2.1",
    "zpl": "ZPL-2.0 ZPL-2.1",
    "zpl 2.1": "ZPL-2.1",
}

# What a licence's text is, and the phrases that it has and has not (in lower case, white space
# collapsed).  Each is a sentence that the licence's other versions do not share.
_MIT = "permission is hereby granted, free of charge, to any person obtaining a copy"
_NOTICE = "permission notice shall be included"
_X11 = "except as contained in this notice"
_BSD = "redistribution and use in source and binary forms"
_BINARY = "redistributions in binary form must reproduce"
_ENDORSE = "endorse or promote products"
_ADVERTISE = "all advertising materials mentioning"
_ISC = "with or without fee is hereby granted"
_PROVIDED = "provided that the above copyright notice"
TEXTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("MIT", (_MIT, _NOTICE), (_X11,)),
    ("MIT-0", (_MIT,), (_NOTICE, "subject to the following conditions")),
    ("X11", (_MIT, _NOTICE, _X11), ()),
    ("BSD-4-Clause", (_BSD, _ADVERTISE), ()),
    ("BSD-3-Clause", (_BSD, _BINARY, _ENDORSE), (_ADVERTISE,)),
    ("BSD-2-Clause", (_BSD, _BINARY), (_ENDORSE, _ADVERTISE)),
    ("Apache-2.0", ("apache license", "version 2.0, january 2004"), ()),
    ("Apache-2.0", ("licensed under the apache license, version 2.0",), ()),
    ("ISC", (_ISC, _PROVIDED), ()),
    ("0BSD", (_ISC,), ("provided that",)),
    ("MPL-2.0", ("mozilla public license version 2.0",), ()),
    ("MPL-2.0", ("mozilla public license, v. 2.0",), ()),
    ("MPL-2.0", ("mozilla public license, version 2.0",), ()),
    ("PSF-2.0 Python-2.0", ("python software foundation license version 2",), ()),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",), ()),
    ("Zlib", ("without any express or implied warranty", "altered source versions must be"), ()),
    ("BSL-1.0", ("boost software license - version 1.0",), ()),
    ("CC0-1.0", ("cc0 1.0 universal",), ()),
    ("EPL-2.0", ("eclipse public license - v 2.0",), ()),
    ("ZPL-2.1", ("zope public license (zpl) version 2.1",), ()),
    (AGPL, ("gnu affero general public license version 3, 19 november 2007",), ()),
    (LGPL3, ("gnu lesser general public license version 3, 29 june 2007",), ()),
    (LGPL21, ("gnu lesser general public license version 2.1, february 1999",), ()),
    (GPL3, ("gnu general public license version 3, 29 june 2007",), ()),
    (GPL2, ("gnu general public license version 2, june 1991",), ()),
)
