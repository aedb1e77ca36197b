"""What each act has to be in the codes of DICOM, FHIR and IHE, written down from the catalogue of requirements and not from the code:
a new act fails until it has its row."""

import json

from harness import equal, expect

DCM = "http://dicom.nema.org/resources/ontology/DCM"
REST = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
ISO = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
BALP = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"

# The outcomes of AuditEvent.
OUTCOMES = {"0", "4", "8", "12"}


# Roles of what may stand beside the object: users and their devices, a query.
BESIDE = {"11", "24"}


class Row:
    """Type, subtypes, actions; role and lifecycle of the object where there is one."""

    def __init__(self, kind, subtypes, actions, role, lifecycle=None):
        self.kind, self.subtypes, self.actions = kind, subtypes.split(), set(actions)
        self.roles, self.lifecycle = {role, *BESIDE}, lifecycle


def alert(subtypes, actions, role="13"):
    return Row("110113", subtypes, actions, role)


def rest(subtypes, action, lifecycle, role="4"):
    return Row("rest", subtypes, action, role, lifecycle)


def each(acts, row):
    return {act: row for act in acts.split()}


CATALOGUE = {
    "server.start": Row("110100", "110120", "E", "13"),
    "server.stop": Row("110100", "110121", "E", "13"),
    "audit.start": alert("110134", "E"),
    **each("audit.stop audit.gap", alert("110133", "E")),
    **each("audit.pin audit.cosign audit.fault", alert("110129", "E")),
    **each("login login.failed", Row("110114", "110122", "E", "13")),
    "logout": Row("110114", "110123", "E", "13"),
    "account.create": alert("110137", "C"),
    "account.change": alert("110137", "U"),
    "account.erase": alert("110137 destroy", "D"),
    "account.export": Row("110106", "disclose", "R", "4", "10"),
    **each("room.read media.read hold.read", rest("read", "R", "6")),
    **each("search directory hierarchy", rest("search", "E", "6")),
    **each("event.send media.create", rest("create", "C", "1")),
    "event.edit": rest("update", "U", "3"),
    "event.redact": rest("delete", "D", "14"),
    **each("media.delete room.delete", rest("delete", "D", "15")),
    **each("member.join member.leave member.invite member.kick member.ban member.unban member.knock", alert("110135", "U")),
    **each("media.hide room.change", alert("110135", "U")),
    "role.check": alert("AuthZ-Role", "E"),
    "policy.sign": alert("AuthZ-Role", "E", "4"),
    "server.config": alert("110129", "U"),
    "role.map": alert("110136", "U", "12"),
    "role.change": alert("110137", "U", "11"),
    "admin.call": alert("110132", "RUDE"),
    "admin.impersonate": alert("110132", "E"),
    "emergency.begin": alert("110127", "E"),
    "emergency.end": alert("110138", "E"),
    "emergency.review": alert("110132", "E"),
    **each("audit.read audit.export", Row("110101", "disclose", "R", "13")),
    "backup.create": Row("110106", "transmit", "R", "4", "10"),
    "backup.restore": Row("110107", "receive", "C", "4", "2"),
    "federation.send": Row("110106", "transmit", "R", "4", "10"),
    "federation.receive": Row("110107", "receive", "C", "4", "2"),
    **each("retention.purge retention.shred", rest("delete destroy", "D", "15")),
    "retention.redact": rest("delete destroy", "D", "14"),
    "hold.set": alert("hold", "U"),
    "hold.release": alert("unhold", "U"),
    **each("keys.restore device.verify device.delete", alert("110137", "U")),
}

SYSTEMS = {"rest": REST, "AuthZ-Role": BALP, **each("disclose transmit receive destroy hold unhold", ISO),
           **each("read search create update delete", INTERACTION)}


def check(act, resource):
    """That an AuditEvent has the codes of its act's row."""
    row, told = CATALOGUE[act], json.dumps(resource)
    equal((resource["type"]["code"], resource["type"]["system"]), (row.kind, SYSTEMS.get(row.kind, DCM)), f"type of {told}")
    equal([(coding["code"], coding["system"]) for coding in resource["subtype"]],
          [(code, SYSTEMS.get(code, DCM)) for code in row.subtypes], f"subtypes of {told}")
    expect(resource["action"] in row.actions, f"the action of {told}")
    expect(resource["outcome"] in OUTCOMES, f"the outcome of {told}")
    for entity in resource.get("entity", []):
        role = entity.get("role", {}).get("code")
        expect(role is None or role in row.roles, f"{act}: the role {role} in {told}")
        lifecycle = entity.get("lifecycle", {}).get("code")
        expect(lifecycle is None or lifecycle == row.lifecycle, f"{act}: the lifecycle {lifecycle} in {told}")
    if act.startswith("emergency."):
        purposes = [coding["code"] for purpose in resource["purposeOfEvent"] for coding in purpose["coding"]]
        expect(purposes in (["ETREAT"], ["BTG"]), f"the purpose of {told}")
