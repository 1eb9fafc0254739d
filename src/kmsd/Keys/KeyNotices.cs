using Kmsd.Access;
using Kmsd.Notifications;

namespace Kmsd.Keys;

/// <summary>Notices about a key: to everybody who holds a grant on it now, or to one principal.</summary>
internal static class KeyNotices
{
    public static Notice About(this Catalogue catalogue, Key key, string kind, Caller? by, DateTimeOffset now, string? detail = null) =>
        catalogue.To([.. key.Grants.Select(grant => grant.Principal).Distinct()], key, kind, by, now, detail);

    public static Notice To(
        this Catalogue catalogue, Principal[] recipients, Key key, string kind, Caller? by, DateTimeOffset now, string? detail = null) =>
        new(kind, now, recipients)
        {
            Tag = key.Tag,
            KeyName = key.Name,
            Store = catalogue.Stores[key.StoreId].Name,
            By = by?.Primary,
            Detail = detail,
        };
}
