"""The patterns of IHE BALP, as far as they are fixed, in FHIRPath: what each profile wants of an AuditEvent."""

BASE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
INTERACTION = "http://hl7.org/fhir/restful-interaction"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
PROVENANCE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
REQUEST_ID = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"


def agent(system, code):
    return f"agent.where(type.coding.where(system='{system}' and code='{code}').exists())"


def pattern(interactions, action, client, server, user, query=False):
    one_of = " or ".join(f"code='{code}'" for code in interactions)
    rules = [
        "type.system = 'http://terminology.hl7.org/CodeSystem/audit-event-type' and type.code = 'rest'",
        f"subtype.where(system='{INTERACTION}' and ({one_of})).count() = 1",
        f"action = '{action}'",
        "outcome = '0'",
        "recorded.exists()",
        "agent.count() >= 2",
    ]
    for kind in [client, server]:
        rules += [f"{agent(*kind)}.count() = 1", f"{agent(*kind)}.who.exists()", f"{agent(*kind)}.network.exists()",
                  f"{agent(*kind)}.media.empty()"]
    rules += [f"{agent(*user)}.count() <= 1", f"{agent(*user)}.all(who.exists() and requestor and network.empty())"]
    rules += [f"entity.where(type.system='{REQUEST_ID}').count() <= 1",
              f"entity.where(type.system='{REQUEST_ID}').all(what.identifier.value.exists())",
              "entity.where(type.code='2').count() = 1"]
    data = "entity.where(type.code='2')"
    if query:
        rules += [f"{data}.all(role.system='{OBJECT_ROLE}' and role.code='24' and query.exists())",
                  f"{data}.all(what.empty() and lifecycle.empty() and detail.empty())"]
    else:
        rules += [f"{data}.all(role.system='{OBJECT_ROLE}' and (role.code='4' or role.code='3' or role.code='20'))",
                  f"{data}.all(what.exists())"]
    return rules


SOURCE, DESTINATION, APPLICATION = (DCM, "110153"), (DCM, "110152"), (DCM, "110150")
AUTHOR, RECIPIENT = (PARTICIPATION, "AUT"), (PARTICIPATION, "IRCP")

PROFILES = {
    BASE + "Read": pattern(["read", "vread"], "R", DESTINATION, SOURCE, RECIPIENT),
    BASE + "Query": pattern(["search", "search-type", "search-system"], "E", SOURCE, DESTINATION, RECIPIENT, query=True),
    BASE + "Create": pattern(["create"], "C", SOURCE, DESTINATION, AUTHOR),
    BASE + "Update": pattern(["update", "patch"], "U", SOURCE, DESTINATION, AUTHOR),
    BASE + "Delete": pattern(["delete"], "D", APPLICATION, (PROVENANCE, "custodian"), AUTHOR),
}

# What FHIR R4 itself wants of every AuditEvent besides its structure (invariant sev-1), and of this server's.
ALWAYS = [
    "entity.all(name.empty() or query.empty())",
    "agent.where(requestor).count() = 1",
    "agent.all(who.exists())",
    "source.observer.exists() and source.site.exists()",
]
