-- Names are compared by NFKC_Casefold, titles and topics are stored in NFC: database/name_keys.py makes them again.
SELECT 1;
