-- Names are compared by NFKC_Casefold, and titles and topics are stored in NFC: database/name_keys.py recomputes them.
SELECT 1;
