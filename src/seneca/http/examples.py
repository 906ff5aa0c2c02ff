"""Examples for the OpenAPI document, based on the reference service's data."""

from typing import Any

_COURSE_ID = "9e263811-0cfb-45f0-a0f9-c155c916dfed"
_USER_ID = "f0e1c82a-6c23-4b7f-b2a7-35776e22fc3f"
_SESSION_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
_JWT = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxIn0.eyJpZCI6IuKApiIsInJvbGUiOiJ1c2VyIn0.c2lnbmF0dXJl"
_EMPTY_PART: dict[str, Any] = {"answers": [], "isCompleted": False, "score": 0}

REGISTRATION = {
    "username": "alice",
    "email": "alice.smith@example.com",
    "password": "securePassword123",
}
REGISTRATION_RESPONSE = {"message": "User registered successfully", "userId": _USER_ID}
LOGIN = {"username": "alice", "password": "securePassword123"}
_REFRESH_TOKEN = "8OHIKmwjS3-yp_NXdu4iPwGZqAB8cABwgACrze8SNFY" + "s" * 64
TOKEN_RESPONSE = {"token": _JWT, "refreshToken": _REFRESH_TOKEN, "tokenType": "Bearer", "expiresIn": 3600}
REFRESH = {"refreshToken": _REFRESH_TOKEN}
PASSWORD_CHANGE = {"currentPassword": "securePassword123", "newPassword": "evenMoreSecurePassword456"}
ACCOUNT = {
    "id": _USER_ID,
    "username": "alice",
    "email": "alice.smith@example.com",
    "role": "user",
    "createdAt": "2025-02-20T08:00:00.000Z",
}
ACCOUNT_CHANGE = {"role": "admin"}

NEW_COURSE: dict[str, Any] = {
    "courseTitle": "Mathematics - GCSE",
    "qualification": "GCSE",
    "topicsAndModules": [{"topic": "Number", "modules": ["Integers", "Fractions", "Decimals"]}],
}
COURSE = {"id": _COURSE_ID, **NEW_COURSE, "createdAt": "2025-02-20T08:00:00.000Z"}
CREATE_COURSE_RESPONSE = {"message": "Course created successfully", "newCourse": COURSE}
COURSE_CHANGE = {"qualification": "GCSE (Higher)"}

START_SESSION = {"courseIdentifier": "Mathematics - GCSE", "topic": "Number"}
START_SESSION_RESPONSE = {"message": "Session started created successfully", "sessionId": _SESSION_ID}
_RESULT: dict[str, Any] = {
    "moduleName": "Integers",
    "adaptive": {
        "answers": ["A", "B", "C", "A", "D"],
        "isCompleted": True,
        "score": 78,
    },
    "quiz": {"answers": ["D", "A", "C", "B"], "isCompleted": True, "score": 74.5},
}
UPDATE_SESSION = {"sessionId": _SESSION_ID, "moduleStats": [_RESULT]}
UPDATE_SESSION_RESPONSE = {
    "message": "Session updated successfully",
    "sessionId": _SESSION_ID,
    "sessionPoints": 152.5,
    "updatedModulesStats": [{**_RESULT, "wrongAnswers": _EMPTY_PART}],
}
SESSION_ACTIVITY = {"sessionId": _SESSION_ID}
SESSION_CORRECTION = {"sessionEnd": "2025-02-20T10:30:00.000Z"}
SESSION_BATCH = {
    "sentAt": "2025-02-20T18:00:00+01:00",
    "sessions": [
        {
            "sessionId": _SESSION_ID,
            "courseIdentifier": "Mathematics - GCSE",
            "topic": "Number",
            "sessionStart": "2025-02-20T09:00:00+01:00",
            "sessionEnd": "2025-02-20T09:45:00+01:00",
            "moduleStats": [{**_RESULT, "recordedAt": "2025-02-20T09:40:00+01:00"}],
        }
    ],
}
BATCH_RESPONSE = {"results": [{"sessionId": _SESSION_ID, "status": 201, "sessionPoints": 152.5}]}
END_SESSION = {"sessionId": _SESSION_ID}
END_SESSION_RESPONSE = {
    "message": "Session ended successfully",
    "sessionId": _SESSION_ID,
    "sessionEnd": "2025-02-23T12:30:00.000Z",
}
SESSION = {
    "id": _SESSION_ID,
    "userId": _USER_ID,
    "courseId": _COURSE_ID,
    "courseTitle": "Mathematics - GCSE",
    "topic": "Number",
    "sessionStart": "2025-02-23T10:00:00.000Z",
    "sessionEnd": "2025-02-23T12:30:00.000Z",
    "isEnd": True,
    "sessionPoints": 152.5,
    "modulesStats": UPDATE_SESSION_RESPONSE["updatedModulesStats"],
    "lastActivityAt": "2025-02-23T12:30:00.000Z",
    "activeMinutes": 42,
    "endedBy": "learner",
}
_RECORDED_SESSION = {
    **SESSION,
    "modulesStats": [
        {
            "moduleName": "Integers",
            "adaptive": {**_RESULT["adaptive"], "recordedAt": "2025-02-23T10:20:00.000Z"},
            "quiz": {**_RESULT["quiz"], "recordedAt": "2025-02-23T10:37:00.000Z"},
            "wrongAnswers": _EMPTY_PART,
        }
    ],
    "activity": [["2025-02-23T10:02:00.000Z", "2025-02-23T10:37:00.000Z"]],
}

STATISTICS = {
    "moduleAmount": {"totalModulesStudied": 1, "moduleNames": ["Integers"]},
    "sessionTime": {"totalDuration": "2 hours 30 minutes", "timeInMinutes": 150},
    "scores": {"totalSessionPoints": 152.5, "overallAverageScore": 76.25},
}
SESSION_STATISTICS = {"sessionId": _SESSION_ID, **STATISTICS}

_DAY = {
    "day": "2025-02-24",
    "sessions": 2,
    "results": 3,
    "points": 412.5,
    "timeInMinutes": 95,
    "activeMinutes": 81,
    "averageScore": 82.5,
}
LEARNER_DAYS = {"timeZone": "Europe/London", "days": [_DAY]}
WEEKS = {
    "timeZone": "Europe/London",
    "goal": 3,
    "current": 6,
    "longest": 11,
    "weeks": [{"week": "2025-02-24", "days": 4, "isMet": True}],
}
COURSE_DAYS = {"timeZone": "Europe/London", "days": [_DAY | {"learners": 2}]}
SCHOOL_SETTINGS = {
    "schoolName": "St Seneca's",
    "passMark": 50,
    "fullMark": 100,
    "quietAfterDays": 7,
    "daysOff": {"weekdays": [6, 7], "dates": [{"from": "2025-12-20", "to": "2026-01-04"}]},
    "weeklyGoalDays": 3,
    "timeZone": "Europe/London",
}
SCHOOL_SETTINGS_CHANGE = {"schoolName": "St Seneca's", "weeklyGoalDays": 3}
COURSE_SETTINGS = {"passMark": 60, "fullMark": None, "inForce": {"passMark": 60, "fullMark": 100}}
COURSE_SETTINGS_CHANGE = {"passMark": 60}

AUDIT_ENTRY = {
    "id": "019c4e5d-8d29-7a11-8a1e-0c9f3f6a7b21",
    "at": "2025-02-24T09:12:44.310Z",
    "actor": "5d0a2b1e-9a6e-4f0a-8f8e-3f1f5b7f7c11",
    "act": "account.role-changed",
    "subject": _USER_ID,
    "facts": {"role": "admin"},
}
ACCOUNT_ERASURE = {"password": "securePassword123"}
DATA_EXPORT = {
    "exportedAt": "2025-03-01T08:00:00.000Z",
    "account": ACCOUNT,
    "hasPassword": True,
    "signIns": [
        {
            "id": "019c4e5d-0d29-7c01-9a1e-5c9f3f6a7b00",
            "startedAt": "2025-02-28T16:00:00.000Z",
            "refreshedAt": "2025-03-01T07:30:00.000Z",
        }
    ],
    "addresses": {"count": 1, "lastSeenAt": "2025-02-28T16:00:00.000Z"},
    "hourlyQuota": {"startedAt": "2025-02-28T16:00:05.000Z", "writes": 200, "bytes": 2684354},
    "audit": [AUDIT_ENTRY],
    "statistics": STATISTICS,
    "voidedSessions": [{"id": "0190a000-0000-7000-8000-000000000009", "voidedAt": "2025-02-26T09:00:00.000Z"}],
    "sessions": [_RECORDED_SESSION],
}
