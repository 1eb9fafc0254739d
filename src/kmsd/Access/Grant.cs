using Kms.Client.Protocol;

namespace Kmsd.Access;

/// <summary>A principal's role on a key.</summary>
internal sealed record Grant(Principal Principal, KeyRole Role, DateTimeOffset GrantedAt);

/// <summary>A principal's role in a store.</summary>
internal sealed record Member(Principal Principal, StoreRole Role, DateTimeOffset Since);
