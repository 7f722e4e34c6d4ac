"""Pages as scanners see them, for training: `make_page` of `page` makes one; ../make_scans.py writes folders of them.

- `text`: endless nonsense in several languages
- `faces`: fonts of this machine, by script and kind
- `prints`: what is printed, stamped and written on a sheet, as layers of ink
- `tones`: pictures in continuous tone and their screens
- `scanner`: paper, light, lens, sensor and JPEG
- `page`: the choices for one page
"""
